"""Files on web servers, of which only the parts that are wanted are fetched."""
