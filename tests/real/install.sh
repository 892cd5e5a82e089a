#!/bin/sh
# Installs the recordings of the group `real` on Debian or Ubuntu; needs root and a fresh
# `apt-get update`. They depend on nothing else.
set -eu
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    asterisk-core-sounds-en-wav \
    asterisk-core-sounds-es-wav \
    asterisk-core-sounds-fr-wav \
    klettres-data
