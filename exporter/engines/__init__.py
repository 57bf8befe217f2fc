"""Sessions and facts, one package per engine; nothing outside knows a driver."""
