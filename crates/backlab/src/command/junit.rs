//! JUnit's XML, as CI systems read it: what its writers share.

/// Text for the inside of an element or of an attribute; control characters can't be said in XML and are left out.
pub fn escape(text: &str) -> String {
    let printable = text.chars().filter(|c| !c.is_control() || *c == '\n');
    printable
        .collect::<String>()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
