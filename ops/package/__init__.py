"""The zip that goes to Lambda: put together, compiled, and checked.

`chalice deploy` and `chalice package`, run through `ops.chalice_child`, make their zip with `Packager`, and
`python -m ops.package` makes the same one to look at. Only chalice need be installed for that.
"""
