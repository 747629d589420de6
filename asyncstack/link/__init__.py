"""Devices, framing, neighbours, segmentation and capture: everything below IP."""
