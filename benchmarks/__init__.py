"""Waybill side by side with what its users would otherwise have: `make bench`."""
