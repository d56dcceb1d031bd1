//! Gives metrics to whoever asks over HTTP.

use std::{
    convert::Infallible,
    fmt::Write as _,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore, time};

use super::{Format, Metrics};

/// So many are answered at once; further ones wait.
const AT_ONCE: usize = 8;

/// Whoever takes longer than this to ask and to read the answer gets no more of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it waits when a connection could not be accepted, for want of descriptors say.
const PAUSE: Duration = Duration::from_millis(200);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl FromStr for Address {
    type Err = String;

    /// A port alone, with or without a colon, is one of the loopback address.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address: write a port (9190) or ADDRESS:PORT");
        let port = text.strip_prefix(':').unwrap_or(text);
        if !port.contains(':') {
            let port: u16 = port.parse().map_err(|_| wrong())?;
            return Ok(Self(
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port).to_string(),
            ));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bare_ipv6 = host.contains(':') && !host.starts_with('[');
        if host.is_empty() || bare_ipv6 || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A port that is listened to.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Begins to listen.
    pub fn bind(address: &Address) -> io::Result<Self> {
        let failed = |error: io::Error| {
            let text = format!("cannot listen on {}: {error}", address.0);
            io::Error::new(error.kind(), text)
        };
        let addresses: Vec<_> = address.0.to_socket_addrs().map_err(failed)?.collect();
        let listener = TcpListener::bind(&addresses[..]).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers, on this thread, for as long as the process runs.
    pub fn serve(self, metrics: Arc<Metrics>) -> io::Result<()> {
        tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?
            .block_on(accept(self.listener, metrics))
    }
}

async fn accept(listener: TcpListener, metrics: Arc<Metrics>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(());
        };
        let Ok((stream, _)) = listener.accept().await else {
            time::sleep(PAUSE).await;
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            // Whoever was too slow or went away gets nothing more.
            let _ = time::timeout(PATIENCE, connection(stream, metrics)).await;
            drop(place);
        });
    }
}

/// One question and its answer: a connection kept for more would take a place from others.
async fn connection(stream: TcpStream, metrics: Arc<Metrics>) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let answer = answer(&request, &metrics);
        async { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let headers = refused.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => exposed(request, metrics),
        "/" => plain(StatusCode::OK, "ipt-trace: the metrics are at /metrics\n"),
        _ => plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n"),
    }
}

fn exposed(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let mut accepted = String::new();
    for header in request.headers().get_all(ACCEPT) {
        // A String takes everything.
        let _ = write!(accepted, "{},", header.to_str().unwrap_or_default());
    }
    let format = Format::of_accept(&accepted);
    match metrics.expose(format) {
        Ok(body) => respond(StatusCode::OK, format.content_type(), body.into()),
        Err(_) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a metric cannot be written\n",
        ),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    respond(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    )
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn a_port_alone_is_one_of_loopback() {
        for (text, address) in [
            ("9190", "127.0.0.1:9190"),
            (":9190", "127.0.0.1:9190"),
            ("0.0.0.0:9190", "0.0.0.0:9190"),
            ("[::]:9190", "[::]:9190"),
            ("localhost:0", "localhost:0"),
        ] {
            assert_eq!(text.parse(), Ok(Address(address.to_owned())));
        }
        for wrong in [
            "",
            ":",
            "http",
            "127.0.0.1",
            "::1",
            "::1:9190",
            "a:b",
            "1:65536",
            "::",
        ] {
            wrong.parse::<Address>().unwrap_err();
        }
    }
}
