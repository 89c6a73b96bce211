"""Sotto Voce: privacy-preserving listening analytics.

A play travels top to bottom: ``agents/gate.py`` turns plays into listens, ``agents/taste.py`` folds
listens into profiles, ``agents/report.py`` lands them in the warehouse, ``warehouse/release.py``
publishes the marts.
"""

__version__ = "0.1.0"
