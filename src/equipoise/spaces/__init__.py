"""Where fields live: meshes, reference elements, quadrature, periodic images and built-in cells and structures.

No equation is known here. Start reading at `mesh.py`."""
