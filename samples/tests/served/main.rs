//! The functions for AWS Lambda and the REST proxy: by their library functions, over HTTP, and as processes.

mod batch;
mod consumer;
mod functions;
mod proxy;
mod recorder;
