"""Formats that hold drawn shapes: polygons, boxes and run lengths of annotation tools."""
