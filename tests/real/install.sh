#!/bin/sh
# Installs the recordings of the group `real` on Debian or Ubuntu, the browser that opens the pages
# of `specctl bench`, and bindfs, which is like the disk of a network; needs root and a fresh
# `apt-get update`.
set -eu
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    asterisk-core-sounds-en-wav \
    asterisk-core-sounds-es-wav \
    asterisk-core-sounds-fr-wav \
    bindfs \
    chromium \
    klettres-data
