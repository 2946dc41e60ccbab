"""Engine, transaction, every table and its migrations; knows no meaning of what it stores."""
