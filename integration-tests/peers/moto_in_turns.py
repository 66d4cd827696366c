"""moto with one request at a time: moto_in_turns.py PORT

Its TransactWriteItems copies the tables before it begins, and puts the copies back if a condition is not met. Among the threads
of its own server, that undoes what others wrote meanwhile.
"""
import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
