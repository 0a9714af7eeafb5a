//! Registers and lists as pages of text: `kv/K` holds what a register does, `list/K` a list, an item a line.

use bytes::Bytes;
use http::{Request, Response};

use crate::system::lab::kv::{self, View};
use crate::system::lab::store::Change;

/// A page that must be on disk before the answer is given, and what it holds then.
pub(super) type Write = (String, String);

/// Pages by their names.
struct Pages<'p>(&'p dyn Fn(&str) -> Option<&'p str>);

/// What a request comes to on these pages.
pub(super) fn answer<'p>(
    request: &Request<Bytes>,
    page: &'p dyn Fn(&str) -> Option<&'p str>,
) -> (Option<Write>, Response<Bytes>) {
    match kv::parse(request.method(), request.uri().path(), request.body()) {
        Ok(asked) => {
            let pages = Pages(page);
            let step = asked.on(&pages);
            (step.change.and_then(|change| pages.write(change)), step.answer)
        }
        Err(refused) => (None, *refused),
    }
}

impl Pages<'_> {
    fn write(&self, change: Change) -> Option<Write> {
        match change {
            Change::Put { key, value } => Some((format!("kv/{key}"), value)),
            Change::Push { key, item } => {
                let page = format!("list/{key}");
                let before = (self.0)(&page).unwrap_or_default();
                let after = format!("{before}{item}\n");
                Some((page, after))
            }
            Change::Begin => None,
        }
    }
}

impl View for Pages<'_> {
    fn value(&self, key: &str) -> Option<(&str, u64)> {
        (self.0)(&format!("kv/{key}")).map(|page| (page, 0))
    }

    fn lines(&self, key: &str) -> Option<(String, u64)> {
        (self.0)(&format!("list/{key}")).map(|page| (page.to_owned(), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(method: &str, path: &str, body: &'static str, there: Option<&str>) -> (Option<Write>, u16) {
        let request = Request::builder().method(method).uri(path).body(Bytes::from_static(body.as_bytes())).unwrap();
        let (write, answer) = answer(&request, &|_| there);
        (write, answer.status().as_u16())
    }

    #[test]
    fn a_change_is_a_page_and_a_list_grows_by_a_line() {
        let write = |page: &str, value: &str| Some((page.to_owned(), value.to_owned()));
        assert_eq!(written("PUT", "/kv/a", "2", Some("1")), (write("kv/a", "2"), 200));
        assert_eq!(written("POST", "/kv/a", "2", None), (write("kv/a", "2"), 201));
        assert_eq!(written("POST", "/kv/a", "2", Some("1")), (None, 409));
        assert_eq!(written("POST", "/list/a", "3", Some("1\n2\n")), (write("list/a", "1\n2\n3\n"), 200));
        assert_eq!(written("GET", "/list/a", "", None), (None, 404));
    }
}
