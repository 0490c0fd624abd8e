"""WHEP's extensions: server-sent events and layers."""

from __future__ import annotations

from ..registry import not_checked

for _id in ("X1", "X2", "X3", "X4", "X5", "X6", "X10"):
    not_checked(_id, "optional; no events are served in this version")
for _id in ("X7", "X8", "X9"):
    not_checked(_id, "optional; there is one layer in this version")
