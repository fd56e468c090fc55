//! Times, sizes and rates in the units that people use.

use std::time::Duration;

/// A length of time in two or three digits: `850 µs`, `3.2 ms`, `0.2 s`, `26.1 s`, `1m 40s`, `2h 03m`, `3d 04h`.
pub(crate) fn human_time(time: Duration) -> String {
    // Rounded before the unit is chosen, so that nothing takes 60.0 s.
    let tenths = (time.as_nanos() + 50_000_000) / 100_000_000;
    match time.as_micros() {
        0 => "0 s".to_owned(),
        micros @ 1..1000 => format!("{micros} µs"),
        micros @ 1000..9950 => format!("{:.1} ms", micros as f64 / 1000.0),
        micros @ 9950..99_500 => format!("{:.0} ms", micros as f64 / 1000.0),
        _ if tenths < 600 => format!("{}.{} s", tenths / 10, tenths % 10),
        _ => whole_seconds(time),
    }
}

/// The same without fractions, for what changes while one looks on.
pub(crate) fn whole_seconds(time: Duration) -> String {
    let seconds = (time.as_millis() + 500) / 1000;
    let minutes = seconds / 60;
    let hours = minutes / 60;
    match (hours / 24, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes}m {:02}s", seconds % 60),
        (0, ..) => format!("{hours}h {:02}m", minutes % 60),
        (days, ..) => format!("{days}d {:02}h", hours % 24),
    }
}

/// So many jobs a second; of slow ones so many a minute or an hour. `None` if that is nothing.
pub(crate) fn rate(per_second: f64) -> Option<String> {
    let digits = |number: f64| if number < 9.95 { 1 } else { 0 };
    let (number, unit) = match per_second {
        rate if !rate.is_finite() || rate < 0.1 / 3600.0 => return None,
        rate if rate >= 999_500.0 => (rate / 1e6, "M/s"),
        rate if rate >= 999.5 => (rate / 1e3, "k/s"),
        rate if rate >= 0.95 => (rate, "/s"),
        rate if rate >= 0.95 / 60.0 => (rate * 60.0, "/min"),
        rate => (rate * 3600.0, "/h"),
    };
    Some(format!("{number:.*}{unit}", digits(number)))
}

/// So many bytes: `512 B`, `4 KiB`, `1.5 GiB`.
pub(crate) fn human_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1023.5 {
            let digits = usize::from(unit == "GiB");
            return format!("{size:.digits$} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fitting_units() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.000_85, "850 µs"),
            (0.0032, "3.2 ms"),
            (0.009_96, "10 ms"),
            (0.032, "32 ms"),
            (0.0997, "0.1 s"),
            (0.2, "0.2 s"),
            (26.13, "26.1 s"),
            (59.94, "59.9 s"),
            (59.96, "1m 00s"),
            (100.0, "1m 40s"),
            (7380.0, "2h 03m"),
            (3.0 * 86_400.0 + 4.2 * 3600.0, "3d 04h"),
        ] {
            assert_eq!(human_time(Duration::from_secs_f64(seconds)), text, "{seconds}");
        }
        assert_eq!(whole_seconds(Duration::from_millis(14_700)), "15 s");
    }

    #[test]
    fn rates_have_fitting_units() {
        for (per_second, text) in [
            (38.2, "38/s"),
            (9.94, "9.9/s"),
            (9.96, "10/s"),
            (1.0, "1.0/s"),
            (0.5, "30/min"),
            (0.01, "36/h"),
            (1200.0, "1.2k/s"),
            (999.7, "1.0k/s"),
            (125_000.0, "125k/s"),
            (2.5e6, "2.5M/s"),
        ] {
            assert_eq!(rate(per_second).unwrap(), text);
        }
        assert_eq!((rate(0.0), rate(f64::NAN)), (None, None));
    }

    #[test]
    fn sizes_have_fitting_units() {
        for (bytes, text) in [
            (512, "512 B"),
            (4096, "4 KiB"),
            (52 << 20, "52 MiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 41, "2.0 TiB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }
}
