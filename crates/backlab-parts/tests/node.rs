//! Programs on the real Node.js.

use backlab_parts::node::{DEADLINE, ModuleKind};
use backlab_parts::{Lab, Trace};
use serde_json::json;

#[tokio::test]
async fn a_program_is_told_and_tells_and_ends_when_its_input_ends() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let source = r#"
        console.log(JSON.stringify({ threads: Number(process.env.UV_THREADPOOL_SIZE), arg: process.argv[2] }));
        let text = "";
        process.stdin.on("data", (chunk) => (text += chunk));
        process.stdin.on("end", () => console.log(JSON.stringify({ echo: JSON.parse(text) })));
    "#;
    let script = lab.node_script("echo", ModuleKind::CommonJs, source).unwrap();
    let mut node = lab.node("echo", &script.env("UV_THREADPOOL_SIZE", 7).arg("x y")).await.unwrap();
    assert_eq!(node.told::<u32>("threads", DEADLINE).await.unwrap(), 7);
    assert_eq!(node.told::<String>("arg", DEADLINE).await.unwrap(), "x y");
    node.tell(&json!({"hello": [1, 2]})).await.unwrap();
    node.finish().await.unwrap();
    assert_eq!(node.told::<serde_json::Value>("echo", DEADLINE).await.unwrap(), json!({"hello": [1, 2]}));
    let late = node.told::<u32>("never", DEADLINE).await.unwrap_err();
    assert!(format!("{late:#}").contains("wait for `never` from echo: echo ended"), "{late:#}");
    lab.close().await;
}

#[tokio::test]
async fn the_extension_settles_the_module_kind_and_short_programs_give_results() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let source = "console.log(typeof require === 'undefined' ? '\"module\"' : '\"commonjs\"')";
    for (kind, expected) in [(ModuleKind::CommonJs, "commonjs"), (ModuleKind::EsModule, "module")] {
        let script = lab.node_script("kind", kind, source).unwrap();
        let kinds: Vec<String> = lab.node_results("kind", &script, 3).await.unwrap();
        assert_eq!(kinds, [expected; 3]);
    }
    let broken = lab.node_script("broken", ModuleKind::CommonJs, "nonsense()").unwrap();
    let error = lab.node_result::<u32>("broken", &broken).await.unwrap_err().to_string();
    assert!(error.starts_with("broken ended with 1; it said:"), "{error}");
    assert!(error.contains("nonsense is not defined"), "{error}");
    lab.close().await;
}

#[tokio::test]
async fn a_heap_has_its_limit() {
    let lab = Lab::open(1, Trace::default()).unwrap();
    let source = "const kept = []; for (;;) kept.push(new Array(1e5).fill(kept.length));";
    let script = lab.node_script("hoarder", ModuleKind::CommonJs, source).unwrap();
    let error = lab.node_result::<u32>("hoarder", &script.heap_mb(32)).await.unwrap_err().to_string();
    assert!(error.starts_with("hoarder ended with 134"), "SIGABRT: {error}");
    lab.close().await;
}
