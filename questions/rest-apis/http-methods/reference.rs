//! One map under one lock. A document is kept as the text that came, so its length and its ETag (a hash of the text)
//! need no second serialisation, and HEAD runs the handler of GET, whose content the server leaves out.
//!
//! A lock around a map serves one process. Real stores (S3, CouchDB, a table with a primary key) do the same with a
//! conditional write: `INSERT … ON CONFLICT` decides in one step whether a PUT created or replaced.

use super::Bug;
use crate::prelude::*;
use axum::http::header;
use sha2::{Digest, Sha256};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Longer than any other handler runs, so that what runs side by side meets.
const SLOW: Duration = Duration::from_millis(30);

/// Views that are counted together before they are written.
const FLUSH: u64 = 50;

#[derive(Clone)]
struct Store {
    bug: Option<Bug>,
    documents: Arc<Mutex<BTreeMap<String, Value>>>,
    reads: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

pub fn router(bug: Option<Bug>) -> Router {
    let store = Store { bug, documents: Arc::default(), reads: Arc::default(), writes: Arc::default() };
    let head = move |store, name| async move {
        if bug == Some(Bug::HeadWithoutHeaders) {
            StatusCode::OK.into_response()
        } else {
            read(store, name).await
        }
    };
    Router::new()
        .route("/docs", get(names).post(create).options(collection).fallback(collection))
        .route(
            "/docs/{name}",
            get(read).head(head).put(replace).delete(remove).options(document).fallback(document),
        )
        .with_state(store)
}

/// Serves the content of GET for HEAD, as only a server written by hand does: the library's would leave it out. So the
/// library's serves behind one that makes a GET of each HEAD, on a connection for each request.
pub async fn serve_head_as_get(router: Router) -> Result<()> {
    let behind = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = behind.local_addr()?;
    tokio::spawn(async move { axum::serve(behind, router).await });
    let front = crate::reference::listener().await?;
    loop {
        let (client, _) = front.accept().await?;
        tokio::spawn(carry_as_get(client, addr));
    }
}

async fn carry_as_get(mut client: TcpStream, to: SocketAddr) -> Result<()> {
    let mut came = Vec::new();
    while !came.windows(4).any(|it| it == b"\r\n\r\n") {
        ensure!(client.read_buf(&mut came).await? > 0, "no whole request");
    }
    if came.starts_with(b"HEAD ") {
        came.splice(..4, *b"GET");
    }
    let line = came.iter().position(|byte| *byte == b'\n').context("no line")? + 1;
    came.splice(line..line, *b"Connection: close\r\n");
    let mut server = TcpStream::connect(to).await?;
    server.write_all(&came).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

impl Store {
    fn documents(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.documents.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn names(State(store): State<Store>) -> Json<Vec<String>> {
    Json(store.documents().keys().cloned().collect())
}

async fn create(State(store): State<Store>, body: bytes::Bytes) -> Response {
    let Ok(document) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let name = match store.bug {
        Some(Bug::NamesFromTheClock) => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_secs().to_string()
        }
        Some(Bug::RacingNames) => {
            let count = store.documents().len();
            tokio::time::sleep(SLOW).await;
            count.to_string()
        }
        _ => format!("{:016x}", rand::random::<u64>()),
    };
    let place = format!("/docs/{name}");
    store.documents().insert(name, document);
    (StatusCode::CREATED, [(header::LOCATION, place)]).into_response()
}

async fn read(State(store): State<Store>, Path(name): Path<String>) -> Response {
    let mut documents = store.documents();
    let Some(document) = documents.get_mut(&name) else { return StatusCode::NOT_FOUND.into_response() };
    if store.bug == Some(Bug::CountsViews) && store.reads.fetch_add(1, Ordering::Relaxed) % FLUSH == FLUSH - 1
    {
        document["views"] = (document["views"].as_u64().unwrap_or(0) + FLUSH).into();
    }
    let text = document.to_string();
    let tag = match store.bug {
        Some(Bug::CountsWrites) => format!("\"v{}\"", store.writes.load(Ordering::Relaxed)),
        _ => format!("\"{}\"", hex(&Sha256::digest(&text)[..8])),
    };
    ([(header::ETAG, tag), (header::CONTENT_TYPE, "application/json".to_owned())], text).into_response()
}

async fn replace(State(store): State<Store>, Path(name): Path<String>, body: bytes::Bytes) -> StatusCode {
    if let (Some(Bug::TruncatesFirst), Some(old)) = (store.bug, store.documents().get_mut(&name)) {
        *old = json!({});
    }
    let Ok(mut document) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    let mut documents = store.documents();
    if let (Some(Bug::MergesFields), Some(Value::Object(old))) = (store.bug, documents.get(&name)) {
        let mut merged = old.clone();
        merged.extend(document.as_object().cloned().unwrap_or_default());
        document = merged.into();
    }
    store.writes.fetch_add(1, Ordering::Relaxed);
    let created = documents.insert(name, document).is_none();
    if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT }
}

async fn remove(State(store): State<Store>, Path(name): Path<String>) -> StatusCode {
    let removed = store.documents().remove(&name).is_some();
    if removed { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn collection(State(store): State<Store>, method: Method) -> Response {
    allow(&store, &method, "GET, HEAD, POST, OPTIONS")
}

async fn document(State(store): State<Store>, method: Method) -> Response {
    allow(&store, &method, "GET, HEAD, PUT, DELETE, OPTIONS")
}

fn allow(store: &Store, method: &Method, methods: &'static str) -> Response {
    let status =
        if method == Method::OPTIONS { StatusCode::NO_CONTENT } else { StatusCode::METHOD_NOT_ALLOWED };
    match store.bug {
        Some(Bug::NoSuchMethodIsNotFound) if method != Method::OPTIONS => {
            StatusCode::NOT_FOUND.into_response()
        }
        Some(Bug::OneAllowForAll) => {
            (status, [(header::ALLOW, "GET, HEAD, POST, PUT, DELETE, OPTIONS")]).into_response()
        }
        _ => (status, [(header::ALLOW, methods)]).into_response(),
    }
}
