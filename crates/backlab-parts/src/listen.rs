//! A bounded accept loop, shared by everything here that listens.

use crate::Trace;
use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Connections that one listener has at a time; further ones wait in the kernel's queue.
pub const MOST_CONNECTIONS: usize = 1024;
/// How long a stop may take before it is an error.
const STOP: Duration = Duration::from_secs(10);

/// What a listener's connections are told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Run,
    /// Finish what is in progress, begin nothing new.
    Stop,
    /// End at once.
    Kill,
}

/// What is done with each connection until it ends by itself, or by order.
pub(crate) type Converse =
    Box<dyn FnMut(TcpStream, SocketAddr, watch::Receiver<Order>) -> BoxFuture<'static, ()> + Send>;

/// A socket on 127.0.0.1, at a port that the kernel picked, with its connections. All of it ends on drop.
#[derive(Debug)]
pub(crate) struct Listener {
    name: String,
    addr: SocketAddr,
    order: watch::Sender<Order>,
    task: JoinHandle<()>,
}

impl Listener {
    pub fn open(name: &str, trace: &Trace, converse: Converse) -> Result<Self> {
        let listener = bind().with_context(|| format!("listen on 127.0.0.1 for {name}"))?;
        let addr = listener.local_addr()?;
        let (order, orders) = watch::channel(Order::Run);
        let task = tokio::spawn(accept(listener, orders, converse, trace.clone(), name.to_owned()));
        Ok(Self { name: name.to_owned(), addr, order, task })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening and waits until no connection is left.
    ///
    /// # Errors
    /// A connection is still busy after ten seconds; then all of them have been ended.
    pub async fn end(&mut self, order: Order) -> Result<()> {
        self.order.send_replace(order);
        if self.task.is_finished() {
            return Ok(());
        }
        if timeout(STOP, &mut self.task).await.is_err() {
            self.task.abort();
            bail!("{} was still answering {} seconds after it was told to stop", self.name, STOP.as_secs());
        }
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn bind() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(MOST_CONNECTIONS as u32)
}

async fn accept(
    listener: TcpListener,
    mut orders: watch::Receiver<Order>,
    mut converse: Converse,
    trace: Trace,
    name: String,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    // Small messages go out at once instead of waiting for the acknowledgement of the last one.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(converse(stream, peer, orders.clone()));
                }
                Err(error) => {
                    trace.trouble(&name, format_args!("can't accept a connection: {error}"));
                    // Out of file descriptors, mostly: one of them has to be given back first.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    trace.trouble(&name, "panicked, and closed the connection");
                }
            }
            _ = orders.changed() => break,
        }
    }
    drop(listener);
    if *orders.borrow() == Order::Kill {
        connections.shutdown().await;
    }
    while connections.join_next().await.is_some() {}
}
