"""What is installed here, what of it is known to go wrong, and what helps."""

from specctl.doctor.facts import Machine, examine
from specctl.doctor.rules import Finding, findings

__all__ = ["Finding", "Machine", "examine", "findings"]
