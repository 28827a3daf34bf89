"""Tests that play something through: crashes, full disks, starts and stops."""
