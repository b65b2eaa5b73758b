//! A gateway before four upstreams, each of which fails in its own way.

use super::Gateway;
use crate::prelude::*;
use axum::extract::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;

/// How long the gateway waits for an upstream, and for the one of which it is known that it never answers.
const PATIENT: Duration = Duration::from_secs(8);
const IMPATIENT: Duration = Duration::from_millis(250);

/// An upstream that fails, and the code that the gateway's client got.
#[derive(Clone, Serialize)]
pub struct Upstream {
    pub what: &'static str,
    pub code: u16,
    /// RFC 9110, sections 15.6.3 to 15.6.5; that a refused connection is 502 too is what gateways do, by custom.
    pub defined: u16,
    /// Whether the upstream had accepted the gateway's connection; of the closed port, that it hadn't.
    pub reached: bool,
}

pub async fn before_each(lab: &Lab, kind: Gateway) -> Result<Vec<Upstream>> {
    // A socket that is bound and doesn't listen: the kernel refuses, and nobody else can take the port.
    let closed = TcpSocket::new_v4()?;
    closed.bind("127.0.0.1:0".parse()?)?;
    let silent = lab.serve("silent upstream", Router::new().fallback(std::future::pending::<()>))?;
    let taken = Gate::closed();
    let full = lab.serve("full upstream", with_one_place(&taken))?;
    let garbled = TcpListener::bind("127.0.0.1:0").await?;
    let at = garbled.local_addr()?;
    lab.name_address(closed.local_addr()?, "closed port");
    lab.name_address(at, "SSH server");
    let greeted = Gate::closed();
    let greeting = tokio::spawn(greet(garbled, greeted.clone()));
    // Its one place is taken for as long as this client waits.
    let holder = tokio::spawn(lab.client("another client", &full).get("/slow").into_future());
    taken.arrivals(1).await?;

    let gateway = async |upstream: Client, patience: Duration| -> Result<u16> {
        let server = lab.serve("gateway", pass_on(upstream.deadline(patience), kind))?;
        Ok(lab.client("client", &server).get("/report").await?.status.as_u16())
    };
    let to = |addr| lab.client("gateway", addr);
    lab.step("A gateway whose upstream refuses, is silent, sheds load, or speaks something else");
    let refuses = gateway(to(closed.local_addr()?), PATIENT).await?;
    let hangs = gateway(to(silent.addr()), IMPATIENT).await?;
    let sheds = gateway(to(full.addr()), PATIENT).await?;
    let speaks = gateway(to(at), PATIENT).await?;
    greeting.abort();
    holder.abort();
    let row = |what, code, defined, reached| Upstream { what, code, defined, reached };
    Ok(vec![
        row("refuses the connection", refuses, 502, true),
        row("accepts it and is silent", hangs, 504, silent.connections() == 1),
        row("has no place left", sheds, 503, full.connections() == 2),
        row("answers in another protocol", speaks, 502, greeted.arrived() > 0),
    ])
}

/// Passes on what the upstream says; where that is nothing usable, says whose failure it was.
fn pass_on(upstream: Client, kind: Gateway) -> Router {
    let forward = async move |request: Request| -> Response {
        let target = request.uri().path().to_owned();
        let failed = match upstream.request(request.method().clone(), target).await {
            Ok(reply) => return (reply.status, reply.headers, reply.body).into_response(),
            Err(none) => none.why,
        };
        let code = match (kind, failed) {
            (Gateway::FiveHundred, _) => StatusCode::INTERNAL_SERVER_ERROR,
            (_, Why::Deadline(_)) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        code.into_response()
    };
    Router::new().fallback(forward)
}

/// Works on one request at a time, and turns further ones away instead of letting them queue.
fn with_one_place(taken: &Gate) -> Router {
    let (places, taken) = (Arc::new(Semaphore::new(1)), taken.clone());
    Router::new().fallback(async move || {
        let Ok(_place) = places.try_acquire() else {
            return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "5")]).into_response();
        };
        taken.arrive();
        std::future::pending::<Response>().await
    })
}

/// Greets as an SSH server does: the gateway was given a wrong port.
async fn greet(listener: TcpListener, greeted: Gate) {
    while let Ok((mut stream, _)) = listener.accept().await {
        greeted.arrive();
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    }
}
