import "@firebase/auth"; export {};
