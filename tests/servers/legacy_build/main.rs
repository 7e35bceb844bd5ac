// What v0.4 makes of schedules. One request a line on standard input, its words divided by tabs, one answer a line:
//   cron AFTER COUNT TEXT    ok TIME...  (UTC, seconds since 1970; the next COUNT times from AFTER on)
//   interval TEXT            ok NANOSECONDS
//   zones                    ok NAME...
// or `no` for what it refuses, and `panic` where it ends itself.
use std::io::{self, BufRead, Write};

fn cron(after: &str, count: &str, text: &str) -> Option<String> {
    let schedule = cron_lite::Schedule::new(text).ok()?;
    let after = chrono::DateTime::from_timestamp(after.parse().unwrap(), 0).unwrap();
    let times = schedule.iter(&after).take(count.parse().unwrap());
    Some(times.map(|time| format!("\t{}", time.timestamp())).collect())
}

fn interval(text: &str) -> Option<String> {
    let found = text.parse::<humantime::Duration>().ok()?;
    Some(format!("\t{}", found.as_nanos()))
}

fn zones() -> Option<String> {
    Some(chrono_tz::TZ_VARIANTS.iter().map(|zone| format!("\t{}", zone.name())).collect())
}

fn answer(line: &str) -> Option<String> {
    match line.splitn(4, '\t').collect::<Vec<_>>()[..] {
        ["cron", after, count, text] => cron(after, count, text),
        ["interval", text] => interval(text),
        ["zones"] => zones(),
        _ => panic!("no such request: {line}"),
    }
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        match std::panic::catch_unwind(|| answer(&line)) {
            Ok(Some(found)) => writeln!(out, "ok{found}").unwrap(),
            Ok(None) => writeln!(out, "no").unwrap(),
            Err(_) => writeln!(out, "panic").unwrap(),
        }
    }
}
