"""Positions become a partition of the Earth: OPTICS, a choice by evidence, Voronoi cells, clusters in cells."""
