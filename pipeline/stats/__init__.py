"""Statistics over seeds: functions of arrays, NumPy and SciPy only."""
