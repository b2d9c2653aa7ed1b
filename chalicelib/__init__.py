"""Waybill: takes files in, processes them, and keeps a record of each one."""
