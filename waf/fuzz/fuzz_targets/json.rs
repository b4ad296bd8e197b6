//! JSON bodies. Holds: what serde_json accepts gives the same paths and values here, or meets a
//! limit; never more arguments, bytes or depth than the limits; what is read under a limit is
//! the beginning of what is read without it.

#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use tidegate_waf::body::json;
use tidegate_waf_fuzz::{AMPLE, limits};

fuzz_target!(|data: &[u8]| {
    let Some((limits, body)) = limits(data) else { return };
    let limited = json::parse(body, &limits);
    let ample = json::parse(body, &AMPLE);
    let (read, is_whole) = match &limited {
        Ok(arguments) => (arguments, true),
        Err(error) => (&error.arguments, false),
    };
    assert!(read.len() <= limits.arguments);
    assert!(read.iter().map(|argument| argument.value.len()).sum::<usize>() <= body.len());
    assert!(read.iter().map(|a| a.name.len()).sum::<usize>() <= 4 * limits.bytes);
    let all = ample.as_ref().unwrap_or_else(|error| &error.arguments);
    assert!(all.starts_with(read), "a limit changes what is read before it");
    match &limited {
        Ok(_) => assert!(ample.is_ok() && all == read),
        Err(error) if !error.is_limit() => assert!(ample.is_err()),
        Err(_) => assert!(!is_whole),
    }

    let mut flat = Flat::default();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let accepted = Value { path: "json".to_owned(), depth: 0, flat: &mut flat }
        .deserialize(&mut reader)
        .and_then(|()| reader.end());
    if accepted.is_err() {
        return;
    }
    if let Err(error) = &ample {
        panic!("{error}, but serde_json accepts it");
    }
    for (ours, (name, value)) in all.iter().zip(&flat.values) {
        assert_eq!(ours.name, name.as_bytes());
        match value {
            Some(value) => assert_eq!(ours.value, value.as_bytes()),
            // A number has many texts; ours is the body's.
            None => assert!(memchr::memmem::find(body, &ours.value).is_some()),
        }
    }
    assert_eq!(all.len(), flat.values.len());
    if limited.is_ok() {
        assert!(flat.depth <= limits.depth);
    }
});

/// Paths and values in order; serde_json's own `Value` would lose doubled keys.
#[derive(Default)]
struct Flat {
    values: Vec<(String, Option<String>)>,
    depth: usize,
}

struct Value<'a> {
    path: String,
    depth: usize,
    flat: &'a mut Flat,
}

impl Value<'_> {
    fn add<E>(self, value: Option<String>) -> Result<(), E> {
        self.flat.values.push((self.path, value));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.add(Some(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.add(None)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.add(None)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.add(None)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.add(Some(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.add(Some(String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        self.flat.depth = self.flat.depth.max(depth);
        for index in 0_usize.. {
            let path = format!("{}.array_{index}", self.path);
            if elements.next_element_seed(Value { path, depth, flat: self.flat })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        self.flat.depth = self.flat.depth.max(depth);
        while let Some(key) = members.next_key::<String>()? {
            let key = if key.is_empty() { "empty-key" } else { &key };
            let path = format!("{}.{key}", self.path);
            members.next_value_seed(Value { path, depth, flat: self.flat })?;
        }
        Ok(())
    }
}
