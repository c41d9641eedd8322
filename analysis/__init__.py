"""The user's code as it travels to the slots: pickled, with its modules, source lines and a digest of what it does."""
