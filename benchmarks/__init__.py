"""Time and accuracy of sparse coding, this package and its peers: see README.md."""
