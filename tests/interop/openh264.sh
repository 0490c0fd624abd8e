#!/usr/bin/env bash
# Lays OpenH264 2.6 (libopenh264-8 of Debian 13) at DIR/libopenh264.so for wrtc's H264. Nothing is
# installed, and apt's own lists stay as they are: an older Debian asks its own mirrors for that
# release in lists of its own.
#   openh264.sh DIR
set -euo pipefail
mkdir -p "$1" && cd "$1"
here=$PWD
mkdir -p parts lists/partial archives/partial
options=()
if ! apt-cache show libopenh264-8 >/dev/null 2>&1; then
  . /etc/os-release
  for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    [ -s "$list" ] && sed "s/\b$VERSION_CODENAME\b/trixie/g" "$list" > "parts/trixie.${list##*.}" && break
  done
  options=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$here/parts"
    -o "Dir::State::lists=$here/lists" -o "Dir::Cache=$here" -o APT::Sandbox::User=root)
  apt-get -q "${options[@]}" update >/dev/null
fi
apt-get -q "${options[@]}" download libopenh264-8 >/dev/null
dpkg-deb -x libopenh264-8_*.deb unpacked
cp unpacked/usr/lib/*/libopenh264.so.8 libopenh264.so
rm -rf parts lists archives unpacked libopenh264-8_*.deb ./*.bin
