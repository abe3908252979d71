"""What made parts of the repository, and no user needs: run from its root, not in the wheel."""
