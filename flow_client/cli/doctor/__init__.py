"""Examines what lies between this process and the platform.

An application can call `examine()` where it runs, under its own server: what is wrong with threads, gevent or forks
shows only there. It needs nothing but the package itself.
"""

from flow_client.cli.doctor.examination import examine
from flow_client.cli.doctor.finding import Finding

__all__ = ["Finding", "examine"]
