"""Pictures: functions from plain arrays to figures."""
