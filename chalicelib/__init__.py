"""Waybill: takes files in, processes them, and keeps a record of each one."""

from typing import TYPE_CHECKING

if not TYPE_CHECKING:  # or else a name that nobody knows would be no error

    def __getattr__(name):
        from chalicelib.lazy import submodule

        return submodule(__name__, name)
