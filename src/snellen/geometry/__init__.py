"""Geometry without learning: the ray caster of solid shapes."""
