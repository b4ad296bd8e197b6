/// Declares an enum of the model together with the word each variant is written as.
macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident: $expected:literal {
            $(
                $(#[doc = $variant_doc:literal])*
                $variant:ident = $word:literal
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            $(
                $(#[doc = $variant_doc])*
                $variant,
            )*
        }

        impl $name {
            /// The word it is written as.
            $vis fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::diff::Compare for $name {
            fn show(&self) -> String {
                self.to_string()
            }
        }

        impl $crate::shape::Written for $name {
            fn shape() -> impl $crate::shape::Shape<Value = Self> {
                $crate::shape::Words::new($expected, &[$(($word, Self::$variant)),*])
            }
        }
    };
}

pub(crate) use words;

use super::{Catalogue, Cx, Misfit, Shape};
use crate::{document::Node, later, nearest::nearest};
use serde_json::Value as Json;

/// One of a few words.
pub(crate) struct Words<T: 'static> {
    what: &'static str,
    words: Vec<(&'static str, T)>,
}

impl<T: Copy> Words<T> {
    /// `what` names the kind of thing, without an article.
    pub(crate) fn new(what: &'static str, words: &[(&'static str, T)]) -> Self {
        Self { what, words: words.to_vec() }
    }
}

impl<T: Copy> Shape for Words<T> {
    type Value = T;

    fn expected(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|(word, _)| format!("`{word}`")).collect();
        match words.split_last() {
            Some((last, [])) => format!("the {} {last}", self.what),
            Some((last, others)) => format!("a {}: {} or {last}", self.what, others.join(", ")),
            None => String::new(),
        }
    }

    fn schema(&self, catalogue: &mut Catalogue) -> Json {
        let words: Vec<_> = self.words.iter().map(|(word, _)| *word).collect();
        catalogue.word(&words)
    }

    fn read(&self, node: &Node, cx: &mut Cx<'_>) -> Option<T> {
        let text = cx.text(node, || self.expected())?;
        if let Some((_, value)) = self.words.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let near = || nearest(&text.value, self.words.iter().map(|(word, _)| *word));
        let near = || near().map(|word| format!("did you mean `{word}`?"));
        let why = match later::word(&text.value).or_else(near) {
            Some(help) => Misfit::form().help(help),
            None => Misfit::form(),
        };
        cx.misfit(node.at, &self.expected(), &text, why);
        None
    }
}
