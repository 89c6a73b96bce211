"""Kafka brokers that this package starts itself, on loopback, for the demo and for tests.

Both have the shape of `streams.brokers.process.Broker`: `embedded` starts in milliseconds and
keeps everything in memory; `apache` is Apache Kafka itself. A deployment uses neither.
"""
