"""What a release consists of: versions that agree, its notes, wheel, chart and their checksums (RELEASE.md)."""
