"""Arrays as NumPy writes them, `.npz` and `.npy`: one file or several, whole or through a map."""
