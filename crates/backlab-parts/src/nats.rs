//! A private NATS server with JetStream.
