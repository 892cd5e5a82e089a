"""Pure functions on tensors: windows, bases, mel bands, decibels, the float64 reference."""
