"""Executors: what computes the steps that the scheduler decides."""
