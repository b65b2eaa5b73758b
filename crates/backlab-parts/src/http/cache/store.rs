//! The responses that are kept, by target and variant, within a bound of memory.

use super::stored::Stored;
use http::HeaderMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes that all of them may have together.
pub(super) const MOST_BYTES: usize = 64 << 20;
/// Responses that are kept.
pub(super) const MOST: usize = 4096;

/// Drops what was not used for the longest time when it is full.
#[derive(Debug, Default)]
pub(super) struct Store {
    kept: BTreeMap<String, Vec<Kept>>,
    bytes: usize,
    count: usize,
    /// Grows with each use.
    ticks: u64,
}

#[derive(Debug)]
struct Kept {
    response: Arc<Stored>,
    used: u64,
}

/// What is there for a request.
pub(super) enum Found {
    This(Arc<Stored>),
    /// Responses for other values of what Vary names.
    OtherVariants,
    Nothing,
}

impl Store {
    /// Chooses among the variants (RFC 9111, section 4.1): one that varies before one that forgot to say so, then the
    /// newest.
    pub fn find(&mut self, key: &str, request: &HeaderMap) -> Found {
        let Some(variants) = self.kept.get_mut(key) else { return Found::Nothing };
        let fitting = variants.iter_mut().filter(|it| it.response.is_for(request));
        let Some(best) = fitting.max_by_key(|it| (it.response.varies(), it.response.made())) else {
            return Found::OtherVariants;
        };
        self.ticks += 1;
        best.used = self.ticks;
        Found::This(best.response.clone())
    }

    /// Keeps a response in the place of all that were right for this request.
    pub fn put(&mut self, key: &str, request: &HeaderMap, response: Stored) {
        self.remove(key, |it| it.is_for(request));
        let size = response.size();
        if size > MOST_BYTES {
            return;
        }
        self.ticks += 1;
        self.kept
            .entry(key.to_owned())
            .or_default()
            .push(Kept { response: Arc::new(response), used: self.ticks });
        (self.bytes, self.count) = (self.bytes + size, self.count + 1);
        while self.bytes > MOST_BYTES || self.count > MOST {
            self.drop_oldest();
        }
    }

    pub fn remove(&mut self, key: &str, which: impl Fn(&Stored) -> bool) {
        let Some(variants) = self.kept.get_mut(key) else { return };
        let (bytes, count) = (&mut self.bytes, &mut self.count);
        variants.retain(|it| {
            let goes = which(&it.response);
            if goes {
                (*bytes, *count) = (*bytes - it.response.size(), *count - 1);
            }
            !goes
        });
        if variants.is_empty() {
            self.kept.remove(key);
        }
    }

    /// Marks all variants as not to be used before they are validated (section 4.4).
    pub fn invalidate(&mut self, key: &str) {
        for it in self.kept.get_mut(key).into_iter().flatten() {
            it.response = Arc::new(it.response.invalidated());
        }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    fn drop_oldest(&mut self) {
        let used =
            self.kept.iter().flat_map(|(key, all)| all.iter().map(move |it| (it.used, key, &it.response)));
        let Some((_, key, response)) = used.min_by_key(|(used, ..)| *used) else { return };
        let (key, response) = (key.clone(), response.clone());
        self.remove(&key, |it| std::ptr::eq(it, Arc::as_ptr(&response)));
    }
}
