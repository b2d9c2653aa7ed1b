"""The container image for heavy work; `python -m worker` works the same without a container."""
