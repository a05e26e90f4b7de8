"""Geometry without learning: hyperplanes, linear regions, contour lines, the ray caster of solid shapes."""
