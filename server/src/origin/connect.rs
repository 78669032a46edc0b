//! Connections to origins: a name is resolved, each address checked, and that very address connected to.

use commands::origin::address::Allow;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use http::Uri;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

/// See the module's text.
#[derive(Clone)]
pub struct Connector {
    allow: Arc<Allow>,
}

impl Connector {
    pub fn new(allow: Arc<Allow>) -> Self {
        Self { allow }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let allow = Arc::clone(&self.allow);
        Box::pin(async move { connect(&allow, &uri).await.map(TokioIo::new) })
    }
}

/// Time for one of several addresses: the next may answer where it does not.
const ADDRESS_TIME: Duration = Duration::from_secs(3);

async fn connect(allow: &Allow, uri: &Uri) -> io::Result<TcpStream> {
    let host = uri.host().ok_or_else(|| io::Error::other("no host"))?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::other(format!("{host} has no address"));
    for address in tokio::net::lookup_host((bare, port)).await? {
        match allow.permits(host, port, address.ip()) {
            Err(refused) => last = io::Error::new(io::ErrorKind::PermissionDenied, refused),
            Ok(()) => match tokio::time::timeout(ADDRESS_TIME, TcpStream::connect(address)).await {
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
            },
        }
    }
    Err(last)
}
