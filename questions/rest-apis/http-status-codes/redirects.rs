//! A POST at each code of redirection, sent by an implementation of the browsers' `fetch`: the one in Node.js.

use crate::prelude::*;
use backlab_parts::node::{ModuleKind, Script};

pub const CODES: [u16; 5] = [301, 302, 303, 307, 308];
pub const CONTENT: &str = "two cups, please";

/// What arrived at the place to which the redirection led.
#[derive(Clone, Serialize)]
pub struct Landed {
    pub code: u16,
    pub method: String,
    pub content: String,
}

const SCRIPT: &str = r#"
const [server, body, ...codes] = process.argv.slice(2);
for (const code of codes) await fetch(`http://${server}/form/${code}`, { method: "POST", body });
console.log("true");
"#;

pub async fn followed(lab: &Lab) -> Result<Vec<Landed>> {
    if inventory::NODE.version().is_err() {
        return Ok(Vec::new());
    }
    lab.step("A POST that is redirected, sent by fetch");
    let landed: Arc<Mutex<Vec<Landed>>> = Arc::default();
    let seen = landed.clone();
    let land = async move |method: Method, Path(code): Path<u16>, content: String| {
        let landed = Landed { code, method: method.to_string(), content };
        seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(landed);
    };
    let send_on = async |Path(code): Path<u16>| -> Result<Response, Failed> {
        Ok((StatusCode::from_u16(code)?, [("location", format!("/landed/{code}"))]).into_response())
    };
    let router = Router::new().route("/form/{code}", post(send_on)).route("/landed/{code}", any(land));
    let server = lab.serve("shop", router)?;
    let proxy = lab.proxy("fetch", "shop", &server, proxy::Fault::none())?;
    let script = lab.node_script("fetch", ModuleKind::EsModule, SCRIPT)?.arg(proxy.addr()).arg(CONTENT);
    let script = CODES.iter().fold(script, Script::arg);
    lab.node_result::<bool>("fetch", &script).await?;
    let landed = landed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    Ok(landed)
}
