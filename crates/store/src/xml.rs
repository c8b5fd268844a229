//! The little XML that S3 answers with.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Walks through the texts of a document: the names of the open elements, and the text of the innermost when
/// it ends. What is not well-formed ends the walk.
pub(crate) fn walk(xml: &str, mut leaf: impl FnMut(&[String], &str)) {
    let mut reader = Reader::from_str(xml);
    let (mut open, mut text) = (Vec::<String>::new(), String::new());
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                open.push(String::from_utf8_lossy(tag.local_name().as_ref()).into_owned());
                text.clear();
            }
            Ok(Event::Empty(tag)) => {
                open.push(String::from_utf8_lossy(tag.local_name().as_ref()).into_owned());
                leaf(&open, "");
                open.pop();
            }
            Ok(Event::Text(part)) => text.push_str(&part.decode().unwrap_or_default()),
            Ok(Event::CData(part)) => text.push_str(&part.decode().unwrap_or_default()),
            Ok(Event::GeneralRef(name)) => {
                if let Ok(Some(character)) = name.resolve_char_ref() {
                    text.push(character);
                } else if let Ok(name) = name.decode() {
                    text.push_str(quick_xml::escape::resolve_predefined_entity(&name).unwrap_or_default());
                }
            }
            Ok(Event::End(_)) => {
                leaf(&open, &text);
                open.pop();
                text.clear();
            }
            Ok(Event::Eof) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// The text of the first element of that name.
pub(crate) fn element(xml: &str, name: &str) -> Option<String> {
    let mut found = None;
    walk(xml, |open, text| {
        if found.is_none() && open.last().is_some_and(|last| last == name) {
            found = Some(text.to_owned());
        }
    });
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn entities_and_namespaces_are_read() {
        let xml = r#"<?xml version="1.0"?><E xmlns="x"><Code>A&amp;B&#x20;&quot;c&quot;</Code><M/></E>"#;
        assert_eq!(super::element(xml, "Code").as_deref(), Some("A&B \"c\""));
        assert_eq!(super::element(xml, "M").as_deref(), Some(""));
        assert_eq!(super::element(xml, "N"), None);
    }
}
