//! The page: one file without anything from elsewhere. Pure.

const PAGE: &str = include_str!("page.html");
const DATA: &str = "{{data}}";
const TITLE: &str = "{{title}}";

/// The live page, which asks for looks.
pub(super) fn live(application: &str) -> String {
    PAGE.replace(TITLE, &escaped(application)).replace(DATA, "null")
}

/// A page with one look in it.
pub(super) fn snapshot(application: &str, look: &str) -> String {
    // Within a script no text may end it.
    let data = format!("[{}]", look.replace('<', "\\u003c"));
    PAGE.replace(TITLE, &escaped(application)).replace(DATA, &data)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_cannot_become_markup() {
        let page = snapshot("<b>app</b>", r#"{"worker":"</script><script>alert(1)"}"#);

        assert!(!page.contains("<b>app") && !page.contains("</script><script>alert"), "{page}");
        assert!(!PAGE.contains("innerHTML") && !PAGE.contains("src=") && !PAGE.contains("https://"));
        assert_eq!(PAGE.matches("http://").count(), 1, "the namespace of SVG");
    }
}
