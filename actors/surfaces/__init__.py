"""Surfaces: is a picture a scene, a document or a screenshot?"""
