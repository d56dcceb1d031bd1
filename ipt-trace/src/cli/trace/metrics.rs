//! `--metrics`.

use std::sync::Arc;
use std::thread;

use crate::cli::exit::Failure;
use crate::metrics::{
    self, Metrics,
    server::{Address, Server},
};
use crate::trace::Tracer;

/// How many messages may wait to be counted.
const ROOM: usize = 4096;

/// Takes the port, before anything is attached.
pub fn listen(address: &Address) -> Result<Server, Failure> {
    Server::bind(address).map_err(|error| Failure::kernel(format_args!("--metrics: {error}")))
}

/// Counts and answers from here on, on two threads: one that waits for the trace and one that waits
/// for whoever asks.
pub fn serve(tracer: &mut Tracer, server: Server, quiet: bool) -> Result<(), Failure> {
    let counted = Arc::new(Metrics::new(tracer.vitals()));
    let messages = tracer.hub().subscribe("--metrics", ROOM);
    if !quiet {
        let address = server.address();
        let reach = if address.ip().is_loopback() {
            ""
        } else {
            ", for whoever reaches this address"
        };
        anstream::eprintln!("ipt-trace: metrics at http://{address}/metrics{reach}");
    }
    let served = counted.clone();
    let begin = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        thread.map(drop).map_err(Failure::kernel)
    };
    begin(
        "metrics",
        Box::new(move || metrics::count(&counted, &messages)),
    )?;
    begin(
        "metrics-http",
        Box::new(move || {
            if let Err(error) = server.serve(served) {
                anstream::eprintln!("ipt-trace: metrics are not given any more: {error}");
            }
        }),
    )
}
