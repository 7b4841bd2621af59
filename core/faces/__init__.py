"""Faces in a photo: found by dlib's detector, aligned by our own five-point landmark network.

`core.faces.frame` (plain data and geometry) can be imported without torch; the finder can't.
"""
